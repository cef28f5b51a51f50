"""Fails unless two wheels hold the same files with the same bytes."""

import sys
import zipfile

first, second = (zipfile.ZipFile(path) for path in sys.argv[1:3])
names = set(first.namelist()) | set(second.namelist())
differ = sorted(
    name
    for name in names
    if name not in first.namelist()
    or name not in second.namelist()
    or first.read(name) != second.read(name)
)
if differ:
    sys.exit(f"the wheels differ in {', '.join(differ)}")
print(f"{len(names)} files, the same in both wheels")
