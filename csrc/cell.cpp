#include "cell.h"

#include <iterator>
#include <limits>

namespace bptt {

const CellInfo& info(Cell cell) {
  static constexpr CellInfo cells[kCells] = {{"rnn", 1, false, "(H, I)", "(H, H)", "(H,)"},
                                             {"lstm", 4, true, "(4*H, I)", "(4*H, H)", "(4*H,)"},
                                             {"gru", 3, false, "(3*H, I)", "(3*H, H)", "(3*H,)"}};
  return cells[int(cell)];
}

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

}  // namespace bptt
