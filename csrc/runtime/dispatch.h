// CPU features -> the best table of kernels.
#pragma once

#include <string>
#include <vector>

#include "../kernels.h"

namespace bptt {

std::vector<std::string> available();  // names of the instruction sets this CPU has, best last
const Kernels* find_kernels(const std::string& name);  // null if unknown or not available
std::string isa_error(const std::string& name);        // why find_kernels returned null

}  // namespace bptt
