"""The configurations that are measured: the same fleet as one block with `count`, and as one block a machine.

Each has two variables, so that a plan with changed tags reads the same files: `release` is a tag of every machine,
`first_release` that of machine 0.
"""

from __future__ import annotations

from typing import Final

KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bench"

_VARIABLES: Final = """variable "release" { default = "1" }
variable "first_release" { default = "1" }
"""

_HEAD: Final = 'brevplan { project = "bench" }\n'

_MACHINE: Final = """  provider      = local
  instance_type = "cpu_4x_general"
  location      = "us-west-1"
"""


def provider(arguments: str = "") -> str:
    return f'provider "local" {{\n{arguments}}}\n'


def counted(count: int, arguments: str = "") -> str:
    """One block of `count` machines."""
    return (
        f'{_HEAD}{provider(arguments)}{_VARIABLES}resource "instance" "node" {{\n  count = {count}\n{_MACHINE}'
        f'  public_key    = "{KEY}"\n'
        "  tags          = { rank = tostring(count.index), "
        "release = count.index == 0 ? var.first_release : var.release }\n"
        "}\n"
    )


def behind_firewall(count: int, provider_block: str) -> str:
    """One block of `count` machines behind a firewall, at the cloud of a provider block."""
    return (
        f'{_HEAD}{provider_block}resource "firewall" "web" {{\n  ingress {{\n    from_port = 443\n'
        '    protocol  = "tcp"\n  }\n}\n'
        f'resource "instance" "node" {{\n  count         = {count}\n  instance_type = "cpu_4x_general"\n'
        f'  location      = "us-west-1"\n  public_key    = "{KEY}"\n  firewalls     = [firewall.web]\n'
        "  tags          = { rank = tostring(count.index) }\n}\n"
    )


def literal(count: int) -> str:
    """As many blocks as machines."""
    blocks = [
        f'resource "instance" "node_{index}" {{\n{_MACHINE}  public_key    = "{KEY}"\n'
        f'  tags          = {{ rank = "{index}", release = var.{"release" if index else "first_release"} }}\n}}\n'
        for index in range(count)
    ]
    return _HEAD + provider() + _VARIABLES + "".join(blocks)


def terraform_counted(count: int) -> str:
    """The nearest thing that Terraform has built in: as many resources with as much to remember, and no cloud."""
    return (
        f'{_VARIABLES}resource "terraform_data" "node" {{\n  count = {count}\n  input = {{\n'
        f'    instance_type = "cpu_4x_general"\n    location = "us-west-1"\n    public_key = "{KEY}"\n'
        "    tags = { rank = tostring(count.index), "
        "release = count.index == 0 ? var.first_release : var.release }\n"
        "  }\n}\n"
    )


def terraform_literal(count: int) -> str:
    blocks = [
        f'resource "terraform_data" "node_{index}" {{\n  input = {{\n'
        f'    instance_type = "cpu_4x_general"\n    location = "us-west-1"\n    public_key = "{KEY}"\n'
        f'    tags = {{ rank = "{index}", release = var.{"release" if index else "first_release"} }}\n  }}\n}}\n'
        for index in range(count)
    ]
    return _VARIABLES + "".join(blocks)
