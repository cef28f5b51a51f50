#include "cell.h"

#include <iterator>
#include <limits>

namespace bptt {

namespace {

Nonlinearity nonlinearity_argument(py::handle argument) {
  constexpr const char* names[] = {"tanh", "relu", "leaky_relu", "sigmoid", "identity"};  // as in the enum
  const std::string must = ", must be one of tanh, relu, leaky_relu, sigmoid, identity";
  if (!py::isinstance<py::str>(argument)) type_error("nonlinearity is " + type_name(argument) + must);
  for (int i = 0; i < int(std::size(names)); ++i)
    if (argument.equal(py::str(names[i]))) return Nonlinearity(i);
  value_error("nonlinearity is " + std::string(py::repr(argument)) + must);
}

double slope_argument(py::handle argument) {
  const double slope = real_argument(argument, "slope");
  if (!(slope >= 0) || slope > std::numeric_limits<double>::max())
    value_error("slope is " + text(argument) + ", must be finite and at least 0");
  return slope;
}

// The arguments of a cell's own; most have none.
template <class O>
struct OptionArguments {
  static constexpr int count = 0;
  static O read(PyObject* const*) { return {}; }
};
template <>
struct OptionArguments<RnnOptions> {
  static constexpr int count = 2;
  static RnnOptions read(PyObject* const* given) {
    const Nonlinearity nonlinearity = nonlinearity_argument(given[0]);
    return {nonlinearity, slope_argument(given[1])};
  }
};

}  // namespace

const void* address(const Options& options) {
  return std::visit([](const auto& its) -> const void* { return &its; }, options);
}

int option_count(Cell cell) {
  constexpr int counts[kCells] = {
#define BPTT_CELL(Name, ...) OptionArguments<Name##Options>::count,
      BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL
  };
  return counts[int(cell)];
}

Options options_argument(Cell cell, PyObject* const* given) {
  switch (cell) {
#define BPTT_CELL(Name, ...) \
  case Cell::k##Name:        \
    return Options(std::in_place_index<int(Cell::k##Name)>, OptionArguments<Name##Options>::read(given));
    BPTT_CELLS(BPTT_CELL)
#undef BPTT_CELL
  }
  throw std::logic_error("no such cell");
}

const Meanings& meanings(Cell cell) {
  static const std::vector<Meanings> all = [] {
    std::vector<Meanings> each;
    for (const CellInfo& its : kCellInfo) {
      const std::string rows = its.gates == 1 ? "H" : std::to_string(its.gates) + "*H";
      each.push_back({"(" + rows + ", I)", "(" + rows + ", H)", "(" + rows + ",)",
                      "(" + std::to_string(its.vectors) + ", H)"});
    }
    return each;
  }();
  return all[size_t(cell)];
}

Cell cell_argument(const std::string& name) {
  std::string known;
  for (int i = 0; i < kCells; ++i) {
    if (name == kCellInfo[i].name) return Cell(i);
    known += (i ? ", " : "") + std::string(kCellInfo[i].name);
  }
  value_error("cell is '" + name + "', must be one of " + known);
}

}  // namespace bptt
