"""What `terraform fmt` would change in white space, indentation and alignment of `=`, for machines without
terraform. Where it is installed, `run` asks the real one too.
"""

import re
import unittest

from fixture import MODULE

ARGUMENT = re.compile(r'(\s*)([\w.-]+|"[^"]*")( *)= (.*)')


def slips(text):
    """A sentence for each line that is not as `terraform fmt` writes it."""
    found, depth, group = [], 0, []
    lines = text.split("\n")
    if lines[-1] or (len(lines) > 1 and not lines[-2]):
        found.append("the file does not end with one line break")
    for number, line in enumerate(lines, 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line.split(" # ")[0]) if not line.lstrip().startswith("#") else ""
        closing = re.match(r"\s*([\]})]*)", code)[1]
        here = depth - (1 if closing else 0)
        if line and (line != line.rstrip() or "\t" in line or len(line) - len(line.lstrip()) != 2 * max(here, 0)):
            found.append(f"line {number}: white space")
        opens, closes = len(re.findall(r"[\[{(]", code)), len(re.findall(r"[\]})]", code))
        # brackets that open and close together count once
        depth += (opens > closes) - (closes > opens)
        argument = ARGUMENT.fullmatch(line) if code else None
        # a value of several lines is not aligned with the lines above and below it
        if argument and opens == closes:
            group.append((number, argument))
        else:
            if argument and argument[3] != " ":
                found.append(f"line {number}: one space before =")
            found += unaligned(group)
            group = []
    return found


def unaligned(group):
    longest = max((len(argument[2]) for _, argument in group), default=0)
    return [f"line {n}: = is not in line" for n, a in group if len(a[2] + a[3]) != longest + 1]


class Format(unittest.TestCase):
    def test_files(self):
        files = [*MODULE.rglob("*.tf"), *MODULE.rglob("*.tftest.hcl")]
        self.assertGreater(len(files), 8)
        for file in files:
            with self.subTest(file.relative_to(MODULE)):
                self.assertEqual(slips(file.read_text()), [])

    def test_slips_are_found(self):
        good = (MODULE / "main.tf").read_text()
        changes = [
            ("  name            = ", "  name = ", "= is not in line"),
            ("  project_id = local", "  project_id  = local", "= is not in line"),
            ("  data = merge(", "  data  = merge(", "one space before ="),
            ("    for_each = ", "   for_each = ", "white space"),
            ("  run_mode ", "\trun_mode ", "white space"),
            ("= var.name\n", "= var.name \n", "white space"),
        ]
        for text, slip, expected in changes:
            with self.subTest(slip):
                self.assertIn(text, good)
                found = slips(good.replace(text, slip, 1))
                self.assertTrue(any(expected in one for one in found), found)
        for end in ("", "\n\n"):
            self.assertEqual(slips(good.rstrip("\n") + end), ["the file does not end with one line break"])


if __name__ == "__main__":
    unittest.main()
