# What each variable does, and what every deployment has, with a mocked AWS.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_data {
  target = data.aws_subnet.public["eu-west-2a"]
  values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2a" }
}

override_data {
  target = data.aws_subnet.public["eu-west-2b"]
  values = { vpc_id = "vpc-0a1b2c3d4e5f60718", availability_zone = "eu-west-2b" }
}

override_resource {
  target = aws_network_interface.this["eu-west-2a"]
  values = { id = "eni-0a0a0a0a0a0a0a0a0" }
}

override_resource {
  target = aws_network_interface.this["eu-west-2b"]
  values = { id = "eni-0b0b0b0b0b0b0b0b0" }
}

variables {
  vpc_id = "vpc-0a1b2c3d4e5f60718"
  zones = {
    eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] }
    eu-west-2b = { public_subnet_id = "subnet-0b0b0b0b0b0b0b0b0", private_route_table_ids = ["rtb-0b0b0b0b0b0b0b0b0", "rtb-0c0c0c0c0c0c0c0c0"] }
  }
}

run "as_it_comes" {
  assert {
    condition     = output.network_interface_ids == { eu-west-2a = "eni-0a0a0a0a0a0a0a0a0", eu-west-2b = "eni-0b0b0b0b0b0b0b0b0" }
    error_message = "Each zone has an interface."
  }
  assert {
    condition     = alltrue([for each in aws_network_interface.this : !each.source_dest_check])
    error_message = "An appliance forwards what is not its own."
  }
  assert {
    condition     = aws_network_interface.this["eu-west-2b"].subnet_id == "subnet-0b0b0b0b0b0b0b0b0"
    error_message = "The interface is in the public subnet of its zone."
  }
  assert {
    condition     = output.public_ips == { eu-west-2a = "203.0.113.9", eu-west-2b = "203.0.113.9" }
    error_message = "Without eip each zone gets an address."
  }
  assert {
    condition = { for each in aws_route.default : each.route_table_id => each.network_interface_id... } == {
      rtb-0a0a0a0a0a0a0a0a0 = ["eni-0a0a0a0a0a0a0a0a0"]
      rtb-0b0b0b0b0b0b0b0b0 = ["eni-0b0b0b0b0b0b0b0b0"]
      rtb-0c0c0c0c0c0c0c0c0 = ["eni-0b0b0b0b0b0b0b0b0"]
    }
    error_message = "Each private table leads to the interface of its zone."
  }
  assert {
    condition     = alltrue([for each in aws_route.default : each.destination_cidr_block == "0.0.0.0/0"])
    error_message = "The routes are default routes."
  }
  assert {
    condition     = output.autoscaling_group_names == { eu-west-2a = "discriminat-eu-west-2a", eu-west-2b = "discriminat-eu-west-2b" }
    error_message = "Each zone has a group."
  }
  assert {
    condition     = alltrue([for each in aws_autoscaling_group.this : each.min_size == 1 && each.max_size == 1])
    error_message = "An interface is on one instance."
  }
  assert {
    condition     = alltrue([for each in aws_autoscaling_group.this : one(each.initial_lifecycle_hook).default_result == "ABANDON"])
    error_message = "A launch that does not filter is given up."
  }
  assert {
    condition     = alltrue([for each in aws_autoscaling_group.this : one(one(each.instance_refresh).preferences).min_healthy_percentage == 0])
    error_message = "The old instance goes first."
  }
  assert {
    condition     = alltrue([for each in aws_autoscaling_group.this : !coalesce(one(one(each.instance_refresh).preferences).auto_rollback, false)])
    error_message = "What would be rolled back to is the version that has just failed."
  }
  assert {
    condition     = alltrue([for zone, each in aws_launch_template.this : one(each.network_interfaces).network_interface_id == output.network_interface_ids[zone]])
    error_message = "The launch template pins the interface."
  }
  assert {
    condition = alltrue([for each in aws_launch_template.this :
      one(each.metadata_options).http_tokens == "required" && one(each.metadata_options).http_put_response_hop_limit == 1
    ])
    error_message = "IMDSv2, for the host alone."
  }
  assert {
    condition = alltrue([for each in aws_launch_template.this :
      one(one(each.block_device_mappings).ebs).volume_type == "gp3" && tobool(one(one(each.block_device_mappings).ebs).encrypted) && one(one(each.block_device_mappings).ebs).volume_size == 8
    ])
    error_message = "The disk is gp3, encrypted, and of 8 GiB."
  }
  assert {
    condition     = alltrue([for each in aws_launch_template.this : each.key_name == null && each.image_id == "ami-0a1b2c3d4e5f60718" && each.instance_type == "t4g.small"])
    error_message = "The image that was found, the default type, no key pair."
  }
  assert {
    condition     = base64decode(aws_launch_template.this["eu-west-2a"].user_data) == <<-EOT
      # Settings of discriminat; written by Terraform
      [aws]
      deployment = "discriminat"
      auto_scaling_group = "discriminat-eu-west-2a"
      launch_hook = "discriminat-ready"
      [preferences]
      parameter = "DiscrimiNAT"
      [logs]
      group = "discrimiNAT"
      [health]
      port = 1042
    EOT
    error_message = "User data is the program's settings."
  }
  assert {
    condition     = output.log_group_name == "discrimiNAT" && output.preferences_parameter_name == "DiscrimiNAT"
    error_message = "One deployment has the product's own names."
  }
  assert {
    condition     = output.log_group_arn == "arn:aws:logs:eu-west-2:111122223333:log-group:mocked" && output.role_arn == "arn:aws:iam::111122223333:role/mocked"
    error_message = "ARNs are those of the log group and of the role."
  }
  assert {
    condition     = output.security_group_id == "sg-0a1b2c3d4e5f60718"
    error_message = "The Security Group is that of the appliances."
  }
  assert {
    condition     = length(output.alarm_arns) == 16
    error_message = "Each zone has its eight alarms."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.retention_in_days == 365 && aws_cloudwatch_log_group.this.kms_key_id == null
    error_message = "The log is kept for a year, under CloudWatch's key."
  }
  assert {
    condition = jsondecode(aws_ssm_parameter.preferences.insecure_value) == {
      "%default" = {
        flow_log_verbosity   = "full", see_thru = null, ech = "deny", clients = [], syn_gate = "off", x509_crls = "ignore", x509_crl_hosts = []
        private_destinations = [], grace = null, policy_poll_interval = null, preferences_interval = null
        wildcard_exposure    = "prohibit_public_suffix"
      }
    }
    error_message = "The safe preferences."
  }
  assert {
    condition     = tolist([for each in aws_security_group.this.ingress : sort(each.cidr_blocks) if each.to_port == 0]) == tolist([tolist(["10.0.0.0/16", "100.64.0.0/16"])]) && tolist([for each in aws_security_group.this.ingress : sort(each.cidr_blocks) if each.to_port == 1042]) == tolist([tolist(["10.0.0.0/16", "100.64.0.0/16"])])
    error_message = "Both networks of the VPC may come in and probe; one that it had before may not."
  }
  assert {
    condition     = local.image_names == ["discriminat-0.1.0-arm64"]
    error_message = "The image of this version is looked up by its exact name."
  }
  assert {
    condition = { for each in data.aws_iam_policy_document.role.statement : each.sid => { actions = each.actions, resources = each.resources } } == {
      ReadPolicy = {
        actions   = toset(["ec2:DescribeManagedPrefixLists", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups", "ec2:GetManagedPrefixListEntries"])
        resources = toset(["*"])
      }
      WriteLogs       = { actions = toset(["logs:CreateLogStream", "logs:PutLogEvents"]), resources = toset(["arn:aws:logs:eu-west-2:111122223333:log-group:discrimiNAT:*"]) }
      ReadPreferences = { actions = toset(["ssm:GetParameter"]), resources = toset(["arn:aws:ssm:eu-west-2:111122223333:parameter/DiscrimiNAT"]) }
      ReportReadiness = {
        actions = toset(["autoscaling:CompleteLifecycleAction", "autoscaling:SetInstanceHealth"])
        resources = toset([for zone in ["eu-west-2a", "eu-west-2b"] :
          "arn:aws:autoscaling:eu-west-2:111122223333:autoScalingGroup:*:autoScalingGroupName/discriminat-${zone}"
        ])
      }
    }
    error_message = "The role has these rights and no others."
  }
  assert {
    condition     = tolist([for each in data.aws_iam_policy_document.role.statement[0].condition : [each.test, each.variable, each.values[0]]]) == tolist([["StringEquals", "aws:RequestedRegion", "eu-west-2"]])
    error_message = "What knows no resources is bound to the region."
  }
  assert {
    condition     = aws_iam_role.this.permissions_boundary == null && !contains(data.aws_iam_policy_document.role.statement[*].sid, "SessionManager")
    error_message = "No boundary, no shell."
  }
}

run "with_everything_given" {
  variables {
    name          = "egress"
    instance_type = "c7i.large"
    zones = {
      eu-west-2a = {
        public_subnet_id        = "subnet-0a0a0a0a0a0a0a0a0"
        private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"]
        eip                     = { allocation_id = "eipalloc-0a0a0a0a0a0a0a0a0" }
      }
    }
    ami         = { owner = "444455556666", name = "ours", version = "1.2", auto_update = true }
    root_volume = { size_gib = 20, kms_key_arn = "arn:aws:kms:eu-west-2:111122223333:key/disk" }
    preferences = {
      flow_log_verbosity   = "only_disallowed"
      see_thru             = "2027-01-31"
      ech                  = "allow"
      clients              = ["10.9.0.0/16"]
      syn_gate             = "on"
      x509_crls            = "allow"
      x509_crl_hosts       = ["pki.example.com/CertEnroll"]
      private_destinations = ["10.50.0.0/16"]
      grace                = 60
      policy_poll_interval = 5
      wildcard_exposure    = "none"
    }
    lists = {
      parameters = ["/apps/acme/allow", "acme-allow"]
      secrets    = ["apps/acme/allow"]
      elsewhere = {
        central = "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central"
        vault   = "arn:aws:secretsmanager:us-east-1:222222222222:secret:egress/vault-AbCdEf"
      }
      kms_keys = ["arn:aws:kms:us-east-1:222222222222:key/vault"]
    }
    log                      = { retention_days = 30, kms_key_arn = "arn:aws:kms:eu-west-2:111122223333:key/logs" }
    health_check_cidrs       = ["10.0.9.0/24"]
    permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
    session_manager          = true
    tags                     = { team = "network" }
    alarms                   = { enabled = false }
  }

  override_data {
    target = data.aws_ec2_instance_type.this
    values = { supported_architectures = ["x86_64"] }
  }

  override_data {
    target = data.aws_ami.this
    values = { id = "ami-00000000000000001", architecture = "x86_64", root_device_name = "/dev/sda1", block_device_mappings = [] }
  }

  assert {
    condition     = output.log_group_name == "discrimiNAT_egress" && output.preferences_parameter_name == "DiscrimiNAT_egress"
    error_message = "Another name has names of its own."
  }
  assert {
    condition     = output.autoscaling_group_names == { eu-west-2a = "egress-eu-west-2a" } && length(output.alarm_arns) == 0
    error_message = "One zone, one group, and no alarm where none is wanted."
  }
  assert {
    condition     = length(aws_eip.this) == 0 && output.public_ips == { eu-west-2a = "198.51.100.7" }
    error_message = "The given address is used, and none is made."
  }
  assert {
    condition     = local.image_names == ["ours-1.2-x86_64", "ours-1.2.*-x86_64"] && data.aws_ami_ids.this.owners == tolist(["444455556666"])
    error_message = "The newest of 1.2 for the architecture of the type."
  }
  assert {
    condition = (
      aws_launch_template.this["eu-west-2a"].image_id == "ami-00000000000000001"
      && aws_launch_template.this["eu-west-2a"].instance_type == "c7i.large"
      && one(aws_launch_template.this["eu-west-2a"].block_device_mappings).device_name == "/dev/sda1"
    )
    error_message = "What is launched is what was chosen."
  }
  assert {
    condition = (
      one(one(aws_launch_template.this["eu-west-2a"].block_device_mappings).ebs).volume_size == 20
      && one(one(aws_launch_template.this["eu-west-2a"].block_device_mappings).ebs).kms_key_id == "arn:aws:kms:eu-west-2:111122223333:key/disk"
    )
    error_message = "The disk is as given."
  }
  assert {
    condition = jsondecode(aws_ssm_parameter.preferences.insecure_value) == {
      "%default" = {
        flow_log_verbosity   = "only_disallowed", see_thru = "2027-01-31", ech = "allow", clients = ["10.9.0.0/16"]
        syn_gate             = "on", x509_crls = "allow", x509_crl_hosts = ["pki.example.com/CertEnroll"]
        private_destinations = ["10.50.0.0/16"], grace = 60, policy_poll_interval = 5, preferences_interval = null
        wildcard_exposure    = "none"
      }
    }
    error_message = "The preferences arrive."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.retention_in_days == 30 && aws_cloudwatch_log_group.this.kms_key_id == "arn:aws:kms:eu-west-2:111122223333:key/logs"
    error_message = "The log is kept as given."
  }
  assert {
    condition     = tolist([for each in aws_security_group.this.ingress : sort(each.cidr_blocks) if each.to_port == 0]) == tolist([tolist(["10.0.0.0/16", "10.9.0.0/16", "100.64.0.0/16"])]) && tolist([for each in aws_security_group.this.ingress : sort(each.cidr_blocks) if each.to_port == 1042]) == tolist([tolist(["10.0.9.0/24"])])
    error_message = "Networks that count as the VPC's own may come in too, and the probes from where they are."
  }
  assert {
    condition = endswith(base64decode(aws_launch_template.this["eu-west-2a"].user_data), <<-EOT
      [health]
      port = 1042
      clients = ["10.0.9.0/24"]
      [lists]
      arns = ["central=arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central","vault=arn:aws:secretsmanager:us-east-1:222222222222:secret:egress/vault-AbCdEf"]
    EOT
    )
    error_message = "The program, whose own filter drops the probes of others, is told where they come from, and what @list/NAME is."
  }
  assert {
    condition = { for each in data.aws_iam_policy_document.role.statement : each.sid => { actions = each.actions, resources = each.resources } if endswith(each.sid, "Lists") } == {
      ReadLists = {
        actions = toset(["ssm:GetParameter"])
        resources = toset([
          "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central",
          "arn:aws:ssm:eu-west-2:111122223333:parameter/acme-allow",
          "arn:aws:ssm:eu-west-2:111122223333:parameter/apps/acme/allow",
        ])
      }
      ReadSecretLists = {
        actions = toset(["secretsmanager:GetSecretValue"])
        resources = toset([
          "arn:aws:secretsmanager:eu-west-2:111122223333:secret:apps/acme/allow-??????",
          "arn:aws:secretsmanager:us-east-1:222222222222:secret:egress/vault-AbCdEf",
        ])
      }
      DecryptSecretLists = {
        actions   = toset(["kms:Decrypt"])
        resources = toset(["arn:aws:kms:us-east-1:222222222222:key/vault"])
      }
    }
    error_message = "The lists that are named may be read, and no others."
  }
  assert {
    condition = [for each in data.aws_iam_policy_document.role.statement : [for condition in each.condition : [condition.test, condition.variable, condition.values]] if each.sid == "DecryptSecretLists"][0] == [
      ["StringEquals", "kms:ViaService", tolist(["secretsmanager.us-east-1.amazonaws.com"])]
    ]
    error_message = "A key is for Secrets Manager of its region."
  }
  assert {
    condition     = aws_iam_role.this.permissions_boundary == "arn:aws:iam::111122223333:policy/boundary" && contains(data.aws_iam_policy_document.role.statement[*].sid, "SessionManager")
    error_message = "The boundary and the shell."
  }
  assert {
    condition     = aws_network_interface.this["eu-west-2a"].tags == tomap({ team = "network", Name = "egress-eu-west-2a" })
    error_message = "The tags arrive."
  }
}

run "in_another_vpc" {
  command = plan

  variables {
    vpc_id = "vpc-00000000000000009"
    zones  = { eu-west-2a = { public_subnet_id = "subnet-0a0a0a0a0a0a0a0a0", private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"] } }
  }

  override_data {
    target = data.aws_vpc.this
    values = { cidr_block_associations = [{ association_id = "vpc-cidr-assoc-09", cidr_block = "10.9.0.0/16", state = "associated" }] }
  }

  override_data {
    target = data.aws_subnet.public["eu-west-2a"]
    values = { vpc_id = "vpc-00000000000000009", availability_zone = "eu-west-2a" }
  }

  override_data {
    target = data.aws_route_table.private["eu-west-2a/0"]
    values = { vpc_id = "vpc-00000000000000009", associations = [] }
  }

  assert {
    condition     = data.aws_vpc.this.id == "vpc-00000000000000009" && aws_security_group.this.vpc_id == "vpc-00000000000000009"
    error_message = "The VPC that is asked about, and that has the Security Group, is the given one."
  }
  assert {
    condition     = alltrue([for each in aws_security_group.this.ingress : each.cidr_blocks == tolist(["10.9.0.0/16"])])
    error_message = "The networks that may come in are those of the given VPC."
  }
}

run "with_a_list_elsewhere_alone" {
  command = plan

  variables {
    lists = { elsewhere = { central = "arn:aws:ssm:eu-west-1:222222222222:parameter/egress/central" } }
  }

  assert {
    condition     = [for each in data.aws_iam_policy_document.role.statement : each.sid if endswith(each.sid, "Lists")] == ["ReadLists"]
    error_message = "There is no statement without a list."
  }
}

run "with_a_pinned_image" {
  command = plan

  variables {
    ami = { id = "ami-0a1b2c3d4e5f60718" }
  }

  assert {
    condition     = contains([for filter in data.aws_ami_ids.this.filter : filter.values if filter.name == "image-id"], toset(["ami-0a1b2c3d4e5f60718"]))
    error_message = "The image is asked for by its id."
  }
}

run "with_the_manifest_of_a_release" {
  command = plan

  variables {
    ami = { manifest = "./tests/mocks/release.manifest.json" }
  }

  assert {
    condition     = contains([for filter in data.aws_ami_ids.this.filter : filter.values if filter.name == "image-id"], toset(["ami-0000000000000a4e2"]))
    error_message = "The image is that of this region and of the architecture of the type."
  }
  assert {
    condition     = data.aws_ami_ids.this.owners == tolist(["222233334444"]) && data.aws_ami.this.owners == tolist(["222233334444"])
    error_message = "It is asked for as an image of the account that published it."
  }
}

run "with_the_manifest_and_the_other_architecture" {
  command = plan

  variables {
    ami           = { manifest = "./tests/mocks/release.manifest.json" }
    instance_type = "c7i.large"
  }

  override_data {
    target = data.aws_ec2_instance_type.this
    values = { supported_architectures = ["i386", "x86_64"] }
  }

  override_data {
    target = data.aws_ami.this
    values = { id = "ami-000000000000866e2", architecture = "x86_64", root_device_name = "/dev/xvda", block_device_mappings = [] }
  }

  assert {
    condition     = contains([for filter in data.aws_ami_ids.this.filter : filter.values if filter.name == "image-id"], toset(["ami-000000000000866e2"]))
    error_message = "Each architecture has an image of its own."
  }
}

run "in_another_partition" {
  command = plan

  variables {
    lists = {
      parameters = ["/apps/acme/allow"]
      secrets    = ["apps/acme/allow"]
      kms_keys   = ["arn:aws-cn:kms:cn-north-1:222222222222:key/vault"]
    }
  }

  override_data {
    target = data.aws_partition.current
    values = { partition = "aws-cn", dns_suffix = "amazonaws.com.cn" }
  }

  assert {
    condition = alltrue(flatten([
      for each in data.aws_iam_policy_document.role.statement : [for arn in each.resources : startswith(arn, "arn:aws-cn:") || arn == "*"]
    ]))
    error_message = "ARNs are of the partition."
  }
  assert {
    condition     = one([for each in data.aws_iam_policy_document.role.statement : one(each.condition).values if each.sid == "DecryptSecretLists"]) == tolist(["secretsmanager.cn-north-1.amazonaws.com", "secretsmanager.cn-north-1.amazonaws.com.cn"])
    error_message = "Secrets Manager of the partition may use the key."
  }
  assert {
    condition     = one(one(data.aws_iam_policy_document.trust.statement).principals).identifiers == toset(["ec2.amazonaws.com.cn"])
    error_message = "The service that takes the role is that of the partition."
  }
}

run "with_an_address_that_is_bound_already" {
  command = plan

  variables {
    zones = {
      eu-west-2a = {
        public_subnet_id        = "subnet-0a0a0a0a0a0a0a0a0"
        private_route_table_ids = ["rtb-0a0a0a0a0a0a0a0a0"]
        eip                     = { allocation_id = "eipalloc-0a0a0a0a0a0a0a0a0" }
      }
    }
  }

  override_data {
    target = data.aws_eip.given["eu-west-2a"]
    values = { association_id = "eipassoc-0a0a0a0a0a0a0a0a0", network_interface_id = "eni-0d0d0d0d0d0d0d0d0", public_ip = "198.51.100.7" }
  }

  override_data {
    target = data.aws_network_interfaces.own["eu-west-2a"]
    values = { ids = ["eni-0d0d0d0d0d0d0d0d0"] }
  }

  assert {
    condition     = output.public_ips == { eu-west-2a = "198.51.100.7" }
    error_message = "An address that an interface of this deployment has is not in use by somebody else."
  }
}
