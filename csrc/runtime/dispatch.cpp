#include "dispatch.h"

#include "platform.h"

#include "isas.h"  // made by CMake: BPTT_ISAS(X), a row X(name, whether this CPU has it) for each, best last

namespace bptt {

#define BPTT_ISA_ROW(name, has) \
  namespace name {              \
  extern const Kernels kernels; \
  }
BPTT_ISAS(BPTT_ISA_ROW)
#undef BPTT_ISA_ROW

namespace {

struct Candidate {
  const Kernels* kernels;
  bool available;
};

std::vector<Candidate> candidates() {
  find_cpu_features();
#define BPTT_ISA_ROW(name, has) {&name::kernels, has},
  return {BPTT_ISAS(BPTT_ISA_ROW)};
#undef BPTT_ISA_ROW
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
