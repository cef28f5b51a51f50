// Vectors: what the kernels are written with.
//
// Everything in csrc/isa is compiled once per instruction set, in namespace bptt::BPTT_ISA (a macro that
// the build sets together with the compiler flags). No std:: template and no inline function outside that
// namespace may be used here: the linker could keep the AVX-512 copy for every caller.
//
// What compilers have for all instruction sets, GCC's vectors, stands in simd/vectors.h; what an architecture
// must bring, for float and for double, stands in its own file, the only one that asks which instruction set
// this is:
//   kVectorBytes, kAccumulators     a vector's size; vectors of sums in a tile, as registers allow
//   fma(a, b, c)                    a*b + c, rounded once where the instruction set has it
//   at_most, at_least, sqrt         lane by lane; NaN stays
//   load_double(from)               as many values as a vector of double has lanes
//   in_register(v)                  the value in a register of its own
//   kSquare, load_columns           columns of rows, kSquare at once
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../kernels.h"

#if defined(__x86_64__)
#include "simd/x86.h"
#else
#error "csrc/isa/simd has no file for this architecture"
#endif
