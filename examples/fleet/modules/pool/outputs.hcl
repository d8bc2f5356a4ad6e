output "machines" {
  value       = { for machine in instance.machine : machine.name => machine.private_ip }
  description = "The private address of each machine by its name."
}

output "size" {
  value = var.size
}

output "hourly_price" {
  value       = sum(concat([0], instance.machine[*].hourly_price))
  description = "What the pool costs, in USD per hour."
}
