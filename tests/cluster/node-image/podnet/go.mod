module cairn.local/podnet

go 1.24
