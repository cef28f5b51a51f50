// Arguments that differ from cell to cell: shapes by gates, options.
#pragma once

#include <string>
#include <variant>

#include "../kernels.h"
#include "arrays.h"

namespace bptt {

// The options of one of the cells: that of the variant's index.
template <class, class... All>
using OneOf = std::variant<All...>;
#define BPTT_CELL(Name, ...) , Name##Options
using Options = OneOf<void BPTT_CELLS(BPTT_CELL)>;
#undef BPTT_CELL

const void* address(const Options& options);  // as the kernels take them

// How many arguments a cell has of its own, and what they say, checked in the order of the signature.
int option_count(Cell cell);
Options options_argument(Cell cell, PyObject* const* given);

// Shapes for messages, such as "(4*H, I)".
struct Meanings {
  std::string w_ih, w_hh, bias, vectors;
};
const Meanings& meanings(Cell cell);

// A state as a whole, before the first step, and the gradient of what it is after the last.
struct StateNames {
  const char *all, *initial, *dfinal;
};
constexpr StateNames kStateNames[kMostStates] = {{"h", "h_0", "dh_n"}, {"c", "c_0", "dc_n"}};

Cell cell_argument(const std::string& name);

}  // namespace bptt
