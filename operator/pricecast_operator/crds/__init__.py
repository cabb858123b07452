"""The resource models as CustomResourceDefinitions and as a page of documentation."""
