"""Who may reach which names: from annotations to decisions. Pure: no sockets, files, clocks or threads."""
