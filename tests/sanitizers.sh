#!/bin/sh
# Builds the module with AddressSanitizer and UndefinedBehaviorSanitizer in a temporary folder and runs
# the tests on it: tests/sanitizers.sh [pytest's arguments]. The first thing found ends the run.
#
# PYTHON names the interpreter; it needs the tests' packages, pybind11, cmake and ninja. A folder named in
# BUILD is kept and built in again the next time.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${PYTHON:-python3}")
PATH=$(dirname "$python"):$PATH
if [ -z "${BUILD:-}" ]; then
  BUILD=$(mktemp -d)
  trap 'rm -rf "$BUILD"' EXIT
fi

cmake -S "$root" -B "$BUILD/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Debug \
  -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g -D_GLIBCXX_ASSERTIONS" -DBPTT_SANITIZE=address,undefined \
  -DSKBUILD_PROJECT_VERSION=sanitized \
  -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)"
cmake --build "$BUILD/cmake"
rm -rf "$BUILD/python"
mkdir "$BUILD/python"
cp -r "$root/python/bptt" "$BUILD/python/"
rm -f "$BUILD"/python/bptt/_core*.so
cp "$BUILD"/cmake/_core*.so "$BUILD/python/bptt/"

# The sanitizers' libraries must be there before Python's own. Python and NumPy never free all they have:
# no leaks are looked for (test_memory_does_not_grow does, on the usual build).
preload() { "${CXX:-c++}" -print-file-name="$1"; }
export LD_PRELOAD="$(preload libasan.so) $(preload libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export PYTHONPATH="$BUILD/python"
"$python" -m pytest -p no:cacheprovider --rootdir "$root" "$@"
