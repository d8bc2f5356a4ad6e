# One fleet on three clouds: the same rules everywhere, the sum of the prices in one plan.

brevplan {
  project = "multi-cloud"
}

variable "trainers" {
  type        = number
  default     = 2
  description = "Machines at Lambda Cloud."
}

variable "burst" {
  type        = number
  default     = 1
  description = "Machines at Shadeform, for the days when that is not enough."
}

variable "type" {
  type        = string
  default     = "gpu_1x_a10"
  description = "Each cloud has names of its own for its types; brevplan offers -gpu=A10 lists them all."
}

locals {
  team = { team = "research" }
}

resource "firewall" "service" {
  ingress {
    from_port = 443
    protocol  = "tcp"
  }
}

resource "instance" "trainer" {
  count = var.trainers

  provider      = lambda
  instance_type = var.type
  location      = "us-west-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.service]
  tags          = local.team
}

resource "instance" "burst" {
  count = var.burst

  provider      = shadeform
  instance_type = var.type
  location      = "us-east-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.service]
  tags          = local.team
}

# It starts when the trainers run, and is told where they are.
resource "instance" "archive" {
  provider      = fluidstack
  instance_type = "cpu_4x_general"
  location      = "us-east-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.service]
  tags          = local.team
  user_data     = "#!/bin/sh\necho '${join(" ", instance.trainer[*].public_ip)}' > /etc/trainers\n"

  on_change {
    user_data = "replace"
  }
}

output "machines" {
  value = {
    lambda     = instance.trainer[*].public_ip
    shadeform  = instance.burst[*].public_ip
    fluidstack = [instance.archive.private_ip]
  }
}

output "hourly" {
  value = sum([for machine in concat(instance.trainer, instance.burst, [instance.archive]) : coalesce(machine.hourly_price, 0)])
}
