# AWS as the module's data sources see it: a VPC in eu-west-2 with two networks, and an image for each architecture.

mock_data "aws_caller_identity" {
  defaults = { account_id = "111122223333" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
}

mock_data "aws_region" {
  defaults = { name = "eu-west-2" }
}

mock_data "aws_vpc" {
  defaults = {
    cidr_block_associations = [
      { association_id = "vpc-cidr-assoc-0a", cidr_block = "10.0.0.0/16", state = "associated" },
      { association_id = "vpc-cidr-assoc-0b", cidr_block = "100.64.0.0/16", state = "associated" },
      { association_id = "vpc-cidr-assoc-0c", cidr_block = "192.168.0.0/24", state = "disassociated" },
    ]
  }
}

mock_data "aws_route_table" {
  defaults = { vpc_id = "vpc-0a1b2c3d4e5f60718", associations = [] }
}

mock_data "aws_eip" {
  defaults = { association_id = "", network_interface_id = "", public_ip = "198.51.100.7" }
}

mock_data "aws_network_interfaces" {
  defaults = { ids = [] }
}

mock_data "aws_ec2_instance_type" {
  defaults = { supported_architectures = ["arm64"] }
}

mock_data "aws_ec2_instance_type_offerings" {
  defaults = { locations = ["eu-west-2a", "eu-west-2b", "eu-west-2c"] }
}

mock_data "aws_ami_ids" {
  defaults = { ids = ["ami-0a1b2c3d4e5f60718", "ami-00000000000000000"] }
}

mock_data "aws_ami" {
  defaults = {
    id               = "ami-0a1b2c3d4e5f60718"
    architecture     = "arm64"
    root_device_name = "/dev/xvda"
    block_device_mappings = [
      { device_name = "/dev/xvda", ebs = { volume_size = "2" }, no_device = "", virtual_name = "" },
      { device_name = "/dev/sdb", ebs = {}, no_device = "", virtual_name = "ephemeral0" },
    ]
  }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Statement\": []}" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-west-2:111122223333:log-group:mocked" }
}

mock_resource "aws_eip" {
  defaults = { id = "eipalloc-0e0e0e0e0e0e0e0e0", public_ip = "203.0.113.9" }
}

mock_resource "aws_iam_instance_profile" {
  defaults = { arn = "arn:aws:iam::111122223333:instance-profile/mocked" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::111122223333:role/mocked" }
}

mock_resource "aws_launch_template" {
  defaults = { id = "lt-0a1b2c3d4e5f60718", latest_version = 7 }
}

mock_resource "aws_security_group" {
  defaults = { id = "sg-0a1b2c3d4e5f60718" }
}
