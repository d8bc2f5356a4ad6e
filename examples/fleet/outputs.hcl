output "machines" {
  value       = { for name, pool in module.pool : name => pool.machines }
  description = "The address of every machine, by pool and name."
}

output "gateway" {
  value = instance.gateway.public_ip
}

output "hourly" {
  value       = sum([for pool in module.pool : pool.hourly_price]) + instance.gateway.hourly_price
  description = "What the fleet costs, in USD per hour."
}
