variable "name" {
  type        = string
  description = "The name of the pool; machines are called NAME-01, NAME-02, …"
}

variable "instance_type" {
  type = string
}

variable "location" {
  type = string
}

variable "size" {
  type        = number
  description = "How many machines."

  validation {
    condition     = var.size >= 0 && var.size <= 99
    error_message = "A pool has 0 to 99 machines, and ${var.name} would have ${var.size}."
  }
}

variable "public_key" {
  type = string
}

variable "open" {
  type = map(object({
    port   = number
    ranges = list(string)
  }))
  default     = {}
  description = "What can be reached from outside, by the name of the service."
}

variable "packages" {
  type    = list(string)
  default = []
}

variable "tags" {
  type    = map(string)
  default = {}
}
