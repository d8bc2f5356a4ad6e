"""Input made to break things: a clear error at its place, soon, in little memory, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch import after, limited

COMMAND = (sys.executable, "-m", "brevplan")
MOST_MEMORY = 2 << 30


def run(folder: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BREVPLAN_")}
    return subprocess.run(
        after(limited("RLIMIT_AS", MOST_MEMORY), [*COMMAND, *words]), cwd=folder, env=environment, input=typed,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 1, said[:2000]
    assert "Traceback" not in said
    assert "Internal error" not in said
    assert [word for word in words if word not in said] == [], said[:2000]
    assert len(said) < 200_000


def output(expression: str) -> str:
    return f'output "x" {{\n  value = {expression}\n}}\n'


DEEP = {
    "brackets": output("[" * 10_000 + "]" * 10_000),
    "parentheses": output("(" * 10_000 + "1" + ")" * 10_000),
    "blocks": "a {\n" * 10_000 + "}\n" * 10_000,
    "objects": output("{a=" * 10_000 + "1" + "}" * 10_000),
    "templates": output('"${' * 10_000 + "1" + '}"' * 10_000),
    "calls": output("f(" * 10_000 + ")" * 10_000),
    "signs": output("-" * 10_000 + "1"),
    "sums": output("+".join(["1"] * 10_000)),
    "conditions": output("true ? 1 : " * 10_000 + "1"),
    "steps": output("a" + ".b" * 10_000),
    "directives": output('"' + "%{if true}" * 5_000 + "%{endif}" * 5_000 + '"'),
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP.keys())
@pytest.mark.parametrize("command", ["validate", "fmt"])
def test_deep_nesting_is_refused(tmp_path: Path, command: str, text: str) -> None:
    (tmp_path / "main.hcl").write_text(text)
    refused(run(tmp_path, command), "Nested too deeply", "on main.hcl line")
    assert (tmp_path / "main.hcl").read_text() == text


TOO_MUCH = {
    "large exponent": (output("1e1000000"), "Invalid number", "line 2, column 11"),
    "ten million digits": (output("9" * 10_000_000), "Invalid number", "line 2, column 11"),
    "products": (
        "locals {\n  a = 1e19999\n}\n" + output("local.a * local.a * local.a * local.a * local.a * local.a * local.a"),
        "Number out of range",
        "line 5, column 11",
    ),
    "range": (output("range(1e9)"), "More than 1024 values", "line 2, column 11"),
    "pattern that backtracks": (output(f'regex("(a+)+$", "{"a" * 100_000}!")'), "does not match", "line 2, column"),
    "pattern that grows": (output('regex("((a{1000}){1000}){1000}", "a")'), "The pattern is not valid", "column 17"),
    "template of itself": (
        'locals {\n  t = "$${templatestring(t, {t = t})}"\n}\n' + output("templatestring(local.t, {t = local.t})"),
        "nested too deeply",
        "line 5, column 11",
    ),
    "locals in a circle": (
        "locals {\n  a = local.b\n  b = local.c\n  c = local.a\n}\n",
        "local.a → local.b → local.c → local.a",
        "line 4, column 7",
    ),
    "combinations": (output("setproduct(range(1000), range(1000), range(1000))"), "at most 1000000", "column 11"),
    "width": (output('format("%1000000000d", 1)'), "at most 100000 characters", "line 2, column 18"),
    "text that doubles": (
        'locals {\n  a0 = "x"\n'
        + "".join(f'  a{n + 1} = "${{local.a{n}}}${{local.a{n}}}"\n' for n in range(40))
        + "}\n",
        "Text too long",
        "line 29, column",
    ),
    "lists that double": (
        'locals {\n  a0 = ["x", "y"]\n'
        + "".join(f"  a{n + 1} = [local.a{n}, local.a{n}]\n" for n in range(60))
        + "}\n" + output("local.a60"),
        "more than 16777216 parts",
        "line 25, column 9",
    ),
    "lists in lists in lists": (
        'locals {\n  a0 = "x"\n' + "".join(f"  a{n + 1} = [local.a{n}]\n" for n in range(3000)) + "}\n",
        "nested too deeply",
        "line 203, column 10",
    ),
    "replacement": (
        output(f'replace("{"a" * 40_000}", "a", "{"b" * 40_000}")'), "1600000000 characters", "line 2, column 11",
    ),
    "many mistakes": ("a = = 1\n" * 20_000, "Too many mistakes", "on main.hcl line 1, column 5"),
    "many heredocs": ("a = <<E\n" * 20_000, "Unterminated heredoc", "on main.hcl line 1, column 5"),
    "holes without an end": ('a = "${' * 20_000, "Error", "on main.hcl line 1, column"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "what", "where"), TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_too_much_is_refused_at_its_place(tmp_path: Path, text: str, what: str, where: str) -> None:
    (tmp_path / "main.hcl").write_text(text)
    refused(run(tmp_path, "plan"), what, where)


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("[" * 10_000, "Nested too deeply"),
        ("1e1000000", "at most 20000 digits"),
        ("range(1e9)", "More than 1024 values"),
        (f'regex("(a+)+$", "{"a" * 50_000}!")', "does not match"),
        ("\x00", "U+0000"),
        ('"\ud83d"'.encode("utf-8", "replace").decode() + " 1", "Extra characters"),
    ],
)
def test_console_refuses_at_its_place(tmp_path: Path, expression: str, what: str) -> None:
    refused(run(tmp_path, "console", typed=expression + "\n"), what, "on <console> line 1")


def test_text_of_a_hundred_megabytes_is_refused_and_a_shorter_one_works(tmp_path: Path) -> None:
    place = tmp_path / "main.hcl"
    place.write_text(output(f'"{"x" * 100_000_000}"'))
    refused(run(tmp_path, "validate"), "File too large", "main.hcl")
    place.write_text(output(f'length("{"x" * 20_000_000}")'))
    done = run(tmp_path, "validate")
    assert done.returncode == 0, done.stderr[:2000]


def test_links_in_a_circle_are_told_or_passed_over(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "again").symlink_to("..")
    (tmp_path / "sub" / "a.txt").write_text("a")
    (tmp_path / "main.hcl").write_text(output('fileset("sub", "**")'))
    done = run(tmp_path, "plan")
    assert done.returncode == 0, done.stderr
    assert '"a.txt"' in done.stdout
    assert run(tmp_path, "fmt", "-recursive").returncode == 0
    (tmp_path / "loop.hcl").symlink_to("loop.hcl")
    refused(run(tmp_path, "fmt", "loop.hcl"), "loop.hcl")
    refused(run(tmp_path, "validate"), "loop.hcl: Too many levels of symbolic links")
    (tmp_path / "loop.hcl").unlink()
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "main.hcl").write_text(output('file("loop.txt")'))
    refused(run(tmp_path, "plan"), "loop.txt", "line 2, column 16")


def test_a_long_chain_of_locals_is_read_by_the_console(tmp_path: Path) -> None:
    """Each for the one before it, they would be deeper than the stack, and a mistake at the end be told by each."""
    chain = "".join(f"  a{n + 1} = local.a{n}\n" for n in range(2000))
    (tmp_path / "main.hcl").write_text(f'locals {{\n  a0 = "end"\n{chain}}}\n')
    done = run(tmp_path, "console", typed="local.a2000\n")
    assert (done.returncode, done.stdout) == (0, '"end"\n')
    (tmp_path / "main.hcl").write_text(f"locals {{\n  a0 = 1 + null\n{chain}}}\n")
    refused(run(tmp_path, "console", typed="local.a2000\n"), "is null, and a number is needed", "line 2, column 8")
