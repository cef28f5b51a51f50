#!/bin/sh
# Builds the module with AddressSanitizer and UndefinedBehaviorSanitizer in a temporary folder and runs
# the tests on it: tests/sanitizers.sh [pytest's arguments]. The first thing found ends the run, and its
# stack is the last that is printed.
#
# PYTHON names the interpreter; it needs the tests' packages, pybind11, cmake and ninja. A folder named in
# BUILD is kept, and what is built there is used again.
set -eu
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python3}")
PATH=$(dirname "$python"):$PATH
if [ -z "${BUILD:-}" ]; then
  BUILD=$(mktemp -d)
  trap 'rm -rf "$BUILD"' EXIT
fi

# -O1, since -O2 takes three times as long to compile the checks of the kernels
cmake -S . -B "$BUILD/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g -D_GLIBCXX_ASSERTIONS" -DBPTT_SANITIZE=address,undefined \
  -DSKBUILD_PROJECT_VERSION=sanitized \
  -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
cmake --build "$BUILD/cmake"
rm -rf "$BUILD/python"
mkdir -p "$BUILD/python"
cp -r python/bptt "$BUILD/python/"
rm -f "$BUILD"/python/bptt/_core*.so
cp "$BUILD"/cmake/_core*.so "$BUILD/python/bptt/"

# The sanitizers' libraries must be loaded before Python. Python and NumPy never free all they have, so no
# leaks are looked for. Sizes beyond memory are to fail as ever.
preload() { "${CXX:-c++}" -print-file-name="$1"; }
export LD_PRELOAD="$(preload libasan.so) $(preload libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONPATH="$BUILD/python"

# Left out: what measures this very build's time or memory (AddressSanitizer holds freed memory back), and
# the version, which is that of an installed package.
"$python" -m pytest -p no:cacheprovider --capture=sys \
  --deselect tests/test_calls.py::test_memory_does_not_grow \
  --deselect tests/test_calls.py::test_large_blocks_are_used_again_until_freed \
  --deselect tests/test_stream_calls.py::test_memory_does_not_grow \
  --deselect tests/test_package.py::test_import_is_quick \
  --deselect tests/test_package.py::test_version \
  "$@"
