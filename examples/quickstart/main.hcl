brevplan {
  project = "quickstart"
}

provider "local" {}

resource "firewall" "web" {
  ingress {
    from_port = 443
  }
}

resource "instance" "gpu" {
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.web]
}

output "ip" {
  value = instance.gpu.public_ip
}
