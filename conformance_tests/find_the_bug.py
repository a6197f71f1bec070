"""Write a copy of a backend with a mistake in it into the current folder: an exercise of docs/learn/find-the-bug.md.

python conformance_tests/find_the_bug.py 4 --backend flax
python -m gptcore verify --backend bug_4
"""

import argparse
from pathlib import Path

from defects import PACKAGES, read_defects, write_copy


def main():
    """Copy the package, and register it as a backend, as an installation would."""
    defects = read_defects(Path(__file__).parent).values()
    exercises = {defect.exercise: defect for defect in defects if defect.exercise}
    parser = argparse.ArgumentParser(description="Write a copy of a backend with a mistake into the current folder.")
    parser.add_argument("exercise", type=int, choices=sorted(exercises), help="number of the exercise")
    parser.add_argument("--backend", choices=PACKAGES, default="torch", help="framework of the copy; default: torch")
    arguments = parser.parse_args()
    name = f"bug_{arguments.exercise}"
    if Path(name).exists():
        parser.error(f"{name} already exists. Delete it to start again.")
    write_copy(arguments.backend, exercises[arguments.exercise].changes[arguments.backend], Path(name))
    adapter = Path(name, "backend.py")
    adapter.write_text(adapter.read_text().replace(f'name = "{arguments.backend}"', f'name = "{name}"'))
    metadata = Path(f"{name}-1.0.dist-info")
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[gptcore.backends]\n{name} = {name}.backend:BACKEND\n")
    print(f"Wrote {name}. Grade it: python -m gptcore verify --backend {name}")


if __name__ == "__main__":
    main()
