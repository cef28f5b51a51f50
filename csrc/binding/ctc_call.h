// One call of ctc_loss: arguments checked in the order of the signature, the results of the kernel.
#pragma once

#include "../kernels.h"
#include "arrays.h"

namespace bptt {

struct CtcArguments {
  py::object logits, targets, input_lengths, target_lengths, blank, zero_infinity;
};

// the mean loss and its gradient
py::tuple ctc_loss(const Kernels& kernels, const CtcArguments& given);

}  // namespace bptt
