"""What tools that know kstatus make of Cairn's objects, told by kstatus itself (docs/decisions/0012)."""
