"""The artifact store `local`: a PersistentVolumeClaim of the cluster."""
