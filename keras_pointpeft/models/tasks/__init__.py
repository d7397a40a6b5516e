"""What is done with a backbone: classification and segmentation."""
