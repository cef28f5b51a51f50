// What the control groups of a process allow it: only the time on CPUs matters here.
#pragma once

#include <string>

namespace bptt {

// CPUs' worth of time, rounded up; 0 if no limit is set. The least of the process's group and of those it is
// in, since each limits all below it. `membership` is the file /proc/self/cgroup, `mount` the folder
// /sys/fs/cgroup; both are arguments for the sake of tests.
int cgroup_cpus(const std::string& membership, const std::string& mount);

}  // namespace bptt
