# The image baked on an EC2 instance and registered from its volume, for those who prefer Packer to
# `python3 -m image publish`, which needs no instance:
#
#     packer init image/discriminat.pkr.hcl
#     packer build -var region=eu-west-1 image/discriminat.pkr.hcl
#
# provision.sh runs the same steps as `make image`, and the same octets come out. The AMI has the name and the
# properties that publish gives; tests/image/test_packer.py compares them.

packer {
  required_version = ">= 1.9.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "region" {
  type        = string
  description = "Where the AMI is registered."
  default     = "us-east-1"
}

variable "architecture" {
  type        = string
  description = "As AWS says it: x86_64 or arm64."
  default     = "x86_64"
}

variable "commit" {
  type        = string
  description = "What is baked, and named in description and tags: git rev-parse HEAD. HEAD, and not named, if it is not given."
  default     = ""
}

variable "arguments" {
  type        = string
  description = "More arguments of `image build`, such as --renew-lock where Debian's archive has moved on."
  default     = ""
}

variable "subnet_id" {
  type        = string
  description = "A subnet that reaches Debian's archive; one of the default VPC's if it is not given."
  default     = ""
}

locals {
  version = split("\"", split("version = \"", file("${path.root}/../pyproject.toml"))[1])[0]
  name    = "discriminat-${local.version}-${var.architecture}"
  about   = "discriminat ${local.version} for ${var.architecture}"
  archive = "${path.root}/../build/${local.name}.source.tar.gz"
  tags = merge(
    { "Name" = local.name, "discriminat:version" = local.version },
    var.commit == "" ? {} : { "discriminat:commit" = var.commit },
  )

  # Of the builder, not of the AMI: Debian's own names, and something that compiles in a few minutes.
  builder = {
    x86_64 = { debian = "amd64", type = "c7i.large" }
    arm64  = { debian = "arm64", type = "c7g.large" }
  }
}

source "amazon-ebssurrogate" "discriminat" {
  region        = var.region
  subnet_id     = var.subnet_id
  instance_type = local.builder[var.architecture].type
  ssh_username  = "admin"

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name                = "debian-13-${local.builder[var.architecture].debian}-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }

  # The builder's own disk has to hold some Debian trees and the image; the other is what becomes the AMI. What gp3 does
  # without being asked is said all the same, as Packer 1.6.6 wants it.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 16
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
    omit_from_artifact    = true
  }
  launch_block_device_mappings {
    device_name           = "/dev/xvdf"
    volume_type           = "gp3"
    volume_size           = 1
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  ami_name                = local.name
  ami_description         = var.commit == "" ? local.about : "${local.about}, commit ${var.commit}"
  ami_architecture        = var.architecture
  ami_virtualization_type = "hvm"
  boot_mode               = var.architecture == "x86_64" ? "uefi-preferred" : "uefi"
  imds_support            = "v2.0"
  ena_support             = true
  ami_root_device {
    source_device_name    = "/dev/xvdf"
    device_name           = "/dev/xvda"
    volume_type           = "gp3"
    volume_size           = 1
    delete_on_termination = true
  }
  tags          = local.tags
  snapshot_tags = local.tags
}

build {
  sources = ["source.amazon-ebssurrogate.discriminat"]

  # An archive names its commit and has its time: provision.sh takes both from it.
  provisioner "shell-local" {
    inline = [
      "mkdir -p ${path.root}/../build",
      "git -C ${path.root}/.. archive --format=tar.gz -o build/${local.name}.source.tar.gz ${var.commit == "" ? "HEAD" : var.commit}",
    ]
  }
  provisioner "file" {
    source      = local.archive
    destination = "/tmp/source.tar.gz"
    generated   = true
  }
  provisioner "shell" {
    script           = "${path.root}/provision.sh"
    environment_vars = ["ARCHIVE=/tmp/source.tar.gz", "ARGS=${var.arguments}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
  }
}
