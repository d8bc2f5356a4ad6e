# Equal machines behind one firewall, that all start with the same script.

resource "firewall" "pool" {
  dynamic "ingress" {
    for_each = var.open
    iterator = service

    content {
      from_port   = service.value.port
      ip_ranges   = service.value.ranges
      protocol    = "tcp"
      description = service.key
    }
  }
}

resource "instance" "machine" {
  count = var.size

  name          = format("%s-%02d", var.name, count.index + 1)
  instance_type = var.instance_type
  location      = var.location
  public_key    = var.public_key
  firewalls     = [firewall.pool]
  tags          = merge(var.tags, { pool = var.name })

  user_data = templatefile("${path.module}/start.sh.tftpl", {
    pool     = var.name
    packages = var.packages
  })
}
