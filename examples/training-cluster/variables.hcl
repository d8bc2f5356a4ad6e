variable "workers" {
  type        = number
  default     = 4
  description = "How many GPU machines."

  validation {
    condition     = var.workers > 0
    error_message = "At least one worker is needed, not ${var.workers}."
  }
}

variable "asleep" {
  type        = bool
  default     = false
  description = "Stop the workers without losing their disks."
}

variable "team" {
  type    = string
  default = "research"
}

variable "location" {
  type    = string
  default = "us-west-1"
}

variable "storage" {
  type = map(object({
    size     = string
    location = optional(string, "us-west-1")
  }))
  default = {
    datasets    = { size = "2TB" }
    checkpoints = { size = "500GB", location = "us-east-1" }
  }
}
