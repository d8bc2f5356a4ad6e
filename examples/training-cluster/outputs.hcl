output "head" {
  value = instance.head.public_ip
}

output "workers" {
  value = { for worker in instance.worker : worker.name => worker.private_ip }
}

output "storage" {
  value = [for name, machine in instance.storage : "${name}: ${machine.disk_size} at ${machine.location}"]
}

output "hourly" {
  value = sum(concat(instance.worker[*].hourly_price, [instance.head.hourly_price]))
}
