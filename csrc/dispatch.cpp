#include "dispatch.h"

namespace bptt {

namespace {

struct Candidate {
  const Kernels* kernels;
  bool available;
};

std::vector<Candidate> candidates() {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return {{&baseline::kernels, true}, {&avx2::kernels, avx2}, {&avx512::kernels, avx512}};
}

}  // namespace

std::vector<std::string> available() {
  std::vector<std::string> names;
  for (const Candidate& c : candidates())
    if (c.available) names.push_back(c.kernels->name);
  return names;
}

const Kernels* find_kernels(const std::string& name) {
  for (const Candidate& c : candidates())
    if (c.available && name == c.kernels->name) return c.kernels;
  return nullptr;
}

std::string isa_error(const std::string& name) {
  for (const Candidate& c : candidates())
    if (name == c.kernels->name) return "this CPU lacks the instruction set '" + name + "'";
  std::string known;
  for (const Candidate& c : candidates()) known += (known.empty() ? "" : ", ") + std::string(c.kernels->name);
  return "unknown instruction set '" + name + "', must be one of " + known;
}

}  // namespace bptt
