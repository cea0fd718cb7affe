"""What a release consists of: charts, one file for kubectl, lists of what is in the images, where all that comes from.

`make package` writes it to dist/; `make publish REGISTRY=…` puts images and charts into a registry, too. The same commit, and the
same images, make the same bytes.
"""
