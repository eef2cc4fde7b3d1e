# What is accepted as a port, a name and a reference: what appliance/policy/fqdn.py and reference.py accept, if a
# description has room for it. A test holds them against each other.

locals {
  # 1 to 65535
  port = "^(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"

  # What inet_aton() takes for the last part of an address.
  number = "(?:[0-9]+|0[xX][0-9a-fA-F]*)"

  # A list that is kept elsewhere. What stands in for it is then looked at as a name.
  reference  = "/^@(?:[sS][sS][mM]/[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){0,14}|[sS][eE][cC][rR][eE][tT]/[A-Za-z0-9/_+=.@-]+|[lL][iI][sS][tT]/[A-Za-z0-9-]{1,64})$/"
  referenced = "list.example"

  # What can be wrong with references, beside their form.
  reference_faults = [
    { pattern = "^@.{239}", advice = "has more than the 239 characters that a description has room for: find a shorter name for that list" },
    { pattern = "^@[sS][sS][mM]/[aA][wW][sS](?:/|$)", advice = "is a parameter of AWS's own: refer to a parameter of yours" },
    { pattern = "^@?[aA][rR][nN]:", advice = "is an ARN: give it a name in lists.elsewhere of the deployment, and write @list/ and that name" },
    { pattern = "^(?:[sS][sS][mM]|[sS][eE][cC][rR][eE][tT]|[lL][iI][sS][tT])/", advice = "has no @ in front, as a reference to a list has: write @ssm/, @secret/ or @list/, and the name" },
  ]

  # In names for TLS: one character or more of a label, and exactly one, where AWS takes no `?`.
  wildcard = "/[*+]/"

  # What can be wrong with references and wildcards. What stands in for them is then looked at as a name.
  tls_faults = concat(local.reference_faults, [
    { pattern = "^[^@]*\\?", advice = "has a character that AWS takes in no description: write + for exactly one character" },
    { pattern = "^[^.*+@]+(?:\\.[^.*+@]+)+(?:\\+[^.*+@]+(?:\\.[^.*+@]+)+)+$", advice = "is more than one name: write each name as an item of its own" },
  ])

  # All that can be wrong with a name; the first that matches is told. What matches none is a name. Upper and lower
  # case are spelled out, for (?i) would take two letters outside ASCII for a k and an s.
  name_faults = [
    { pattern = "^\\.?$", advice = "is empty: write the name that is missing" },
    { pattern = "^@", advice = "refers to no list: write @ssm/ and a parameter's name, @secret/ and a secret's, or @list/ and a name of lists.elsewhere of the deployment" },
    { pattern = "[^\\x00-\\x7f]", advice = "has a character outside ASCII: write an internationalised name as DNS does, with labels that begin with xn--" },
    { pattern = "^(?i:discriminat):", advice = "is an annotation: write the names alone, the annotation is written here" },
    { pattern = "[*?]", advice = "is a pattern, which ssh cannot have: list each host that is needed" },
    { pattern = "://", advice = "is a URL: write the name alone" },
    { pattern = "^${local.number}(?:\\.${local.number})+(?:/[0-9]*)?$|^\\[?[0-9a-fA-F.]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*\\]?(?:/[0-9]*)?$", advice = "is an address: write the name that clients connect to" },
    { pattern = ":", advice = "has a port: write the name alone, under its port" },
    { pattern = "/", advice = "has a path: write the name alone" },
    { pattern = "[,;+& ]", advice = "is more than one name, or has a space: write each name as an item of its own" },
    { pattern = "[^A-Za-z0-9_.-]", advice = "has a character that no name has: write letters, digits, '-', '_' and '.'" },
    { pattern = "^\\.|\\.\\.", advice = "has an empty label: write one dot between two labels, and none in front" },
    { pattern = "[^.]{64}", advice = "has a label of more than 63 characters: correct it, for DNS knows none" },
    { pattern = "(?:^|\\.)-|-(?:\\.|$)", advice = "has a label that begins or ends with '-': correct it" },
    { pattern = "^[^.]+\\.?$", advice = "is a single label: write the full name, such as api.example.com" },
    { pattern = "\\.${local.number}\\.?$", advice = "ends in a number: write the full name, for no top-level domain is one" },
    { pattern = "^.{239}(?:[^.]$|..)", advice = "has more than the 239 characters that a description has room for: find a shorter name of that server" },
  ]
}
