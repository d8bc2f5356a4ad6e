# A head node that is always there, and workers that can be put to sleep.

brevplan {
  project = "train-cluster"
}

provider "local" {}

locals {
  tags = {
    team    = var.team
    cluster = "train"
  }
  ports = {
    scheduler = 8786
    dashboard = 8787
  }
}

resource "firewall" "cluster" {
  ingress {
    from_port   = min(values(local.ports)...)
    to_port     = max(values(local.ports)...)
    ip_ranges   = ["10.0.0.0/8"]
    protocol    = "tcp"
    description = "scheduler and dashboard, from inside"
  }
}

resource "firewall" "web" {
  ingress {
    from_port = 443
    protocol  = "tcp"
  }
}

resource "instance" "head" {
  instance_type = "cpu_4x_general"
  location      = var.location
  public_key    = file("key.pub")
  firewalls     = [firewall.cluster, firewall.web]
  tags          = merge(local.tags, { role = "head" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "instance" "worker" {
  count = var.workers

  instance_type = "gpu_8x_h100_sxm5"
  location      = var.location
  public_key    = file("key.pub")
  name          = format("worker-%02d", count.index)
  firewalls     = [firewall.cluster]
  tags          = merge(local.tags, { role = "worker" })
  power_state   = var.asleep ? "stopped" : "running"

  user_data = <<-SCRIPT
    #!/bin/sh
    echo "tcp://${instance.head.private_ip}:${local.ports.scheduler}" > /etc/scheduler
    echo "I am worker ${count.index} of ${var.workers}"
  SCRIPT
}

resource "instance" "storage" {
  for_each = var.storage

  instance_type = "cpu_4x_general"
  location      = each.value.location
  public_key    = file("key.pub")
  disk_size     = each.value.size
  tags          = merge(local.tags, { role = "storage", data = each.key })
}
