"""What KFP's own SDK makes of pipelines. Runs where `kfp` is installed, which is never beside the operator."""
