variable "team" {
  type    = string
  default = "vision"
}

variable "office" {
  type        = list(string)
  default     = ["203.0.113.0/24", "198.51.100.7/32"]
  description = "From where services that are not public can be reached."

  validation {
    condition     = alltrue([for range in var.office : can(cidrhost(range, 0))])
    error_message = "Each must be a range such as 203.0.113.0/24."
  }
}

variable "pools" {
  description = "The pools of machines by name."

  type = map(object({
    type     = string
    location = optional(string, "us-west-1")
    size     = optional(number, 1)
    services = optional(list(string), [])
    public   = optional(bool, false)
    packages = optional(list(string), [])
    tags     = optional(map(string), {})
  }))

  default = {
    serving = {
      type     = "gpu_1x_a10"
      size     = 3
      services = ["inference"]
      public   = true
      packages = ["vllm"]
      tags     = { tier = "production" }
    }
    research = {
      type     = "gpu_1x_h100_pcie"
      location = "europe-west4"
      size     = 2
      services = ["inference", "notebook"]
      packages = ["torch", "jupyterlab"]
    }
    batch = {
      type = "gpu_8x_h100_sxm5"
    }
  }
}
