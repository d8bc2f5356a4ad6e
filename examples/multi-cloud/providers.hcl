# Keys come from $LAMBDA_API_KEY, $SHADEFORM_API_KEY and $FLUIDSTACK_API_KEY, or from ~/.config/brevplan/credentials.json.
# Without accounts: brevplan simulate > providers.hcl & shows the same fleet on simulated clouds.

provider "lambda" {}

provider "shadeform" {}

provider "fluidstack" {
  project = "123e4567-e89b-12d3-a456-426614174003"
  region  = "us-east-1"
  prices  = { cpu_4x_general = 0.12 } # its API names none
}
