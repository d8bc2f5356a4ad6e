# A team's fleet: one module describes a pool of equal machines, and is called once for every pool.

brevplan {
  project = "fleet"
}

provider "local" {}

locals {
  tags = { team = var.team }

  machines = sum([for pool in module.pool : pool.size])

  # ports that a service of a pool listens on
  ports = {
    inference = 8000
    notebook  = 8888
  }
}

module "pool" {
  source   = "./modules/pool"
  for_each = var.pools

  name          = each.key
  instance_type = each.value.type
  location      = each.value.location
  size          = each.value.size
  public_key    = file("key.pub")
  packages      = each.value.packages
  tags          = merge(local.tags, each.value.tags)

  open = {
    for service in each.value.services : service => {
      port   = local.ports[service]
      ranges = each.value.public ? ["0.0.0.0/0"] : var.office
    }
  }
}

# The machine that spreads requests over the pool it is told to, by the addresses that come out of the module.
resource "instance" "gateway" {
  instance_type = "cpu_4x_general"
  location      = "us-west-1"
  public_key    = file("key.pub")
  tags          = merge(local.tags, { role = "gateway" })

  user_data = join("\n", [
    "#!/bin/sh",
    "cat > /etc/upstreams <<'EOF'",
    templatefile("${path.module}/upstreams.tftpl", { machines = module.pool["serving"].machines, port = local.ports.inference }),
    "EOF",
  ])

  lifecycle {
    precondition {
      condition     = module.pool["serving"].size > 0
      error_message = "The gateway has nothing to spread requests over: give the pool \"serving\" a size."
    }
  }
}

check "names" {
  assert {
    condition     = length(distinct(flatten([for pool in module.pool : keys(pool.machines)]))) == local.machines
    error_message = "Two machines of the fleet have the same name."
  }
}
