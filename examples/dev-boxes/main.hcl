# One GPU machine a person, some of them put to sleep.

brevplan {
  project = "dev-boxes"
}

provider "local" {}

variable "people" {
  type = map(object({
    type   = optional(string, "gpu_1x_a10")
    awake  = optional(bool, true)
    office = optional(list(string), ["203.0.113.0/24"])
  }))
  default = {
    alice = {}
    bob   = { type = "gpu_1x_h100_pcie" }
    carol = { awake = false }
  }
}

resource "firewall" "office" {
  for_each = var.people

  ingress {
    from_port   = 22
    ip_ranges   = each.value.office
    protocol    = "tcp"
    description = "SSH from the office of ${title(each.key)}"
  }

  ingress {
    from_port = 8888
    ip_ranges = each.value.office
    protocol  = "tcp"
  }
}

resource "instance" "box" {
  for_each = var.people

  instance_type = each.value.type
  location      = "us-west-1"
  public_key    = file("key.pub")
  power_state   = each.value.awake ? "running" : "stopped"
  firewalls     = [firewall.office[each.key]]
  tags          = { owner = each.key }

  lifecycle {
    prevent_destroy = each.value.awake
  }
}

output "boxes" {
  value = { for name, box in instance.box : name => "${box.ssh_user}@${box.public_ip}" if box.power_state == "running" }
}
