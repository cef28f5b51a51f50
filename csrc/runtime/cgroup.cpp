#include "cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace bptt {

namespace {

// C's files, which work in a child after a fork whatever other threads were doing.
using File = std::unique_ptr<FILE, int (*)(FILE*)>;
File open(const std::string& path) { return {fopen(path.c_str(), "r"), fclose}; }

bool read(const std::string& path, double* numbers, int count) {
  const File file = open(path);
  for (; file && count > 0 && fscanf(file.get(), "%lf", numbers) == 1; --count) ++numbers;
  return count == 0;
}

// What one group allows, by itself.
double cpus_of(const std::string& folder, bool version_2) {
  double quota[2];  // microseconds, of so many; where there is none it is "max" or -1
  const bool found = version_2 ? read(folder + "/cpu.max", quota, 2)
                               : read(folder + "/cpu.cfs_quota_us", quota, 1) &&
                                     read(folder + "/cpu.cfs_period_us", quota + 1, 1);
  return found && quota[0] > 0 ? quota[0] / quota[1] : HUGE_VAL;
}

bool contains(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

}  // namespace

int cgroup_cpus(const std::string& membership, const std::string& mount) {
  double least = HUGE_VAL;
  const File file = open(membership);
  char* buffer = nullptr;
  size_t size = 0;
  while (file && getline(&buffer, &size, file.get()) > 0) {
    const std::string line(buffer, strcspn(buffer, "\n"));  // "0::/a/b", or "4:cpu,cpuacct:/a/b" of version 1
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && !contains(controllers, "cpu")) continue;
    // In a container, folders of the path may be outside and missing here; the mount itself is always there.
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      least = std::min(least, cpus_of(mount + (version_2 ? "" : "/cpu") + path, version_2));
      if (path.find('/') == std::string::npos) break;
    }
  }
  free(buffer);
  return least < 1e6 ? int(std::ceil(least)) : 0;
}

}  // namespace bptt
