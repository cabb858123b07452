"""The resources that people write (`PricePipeline`, `FinetuneJob`), read from manifests, and the plan made from them.

What both runtimes share: it knows neither Kubernetes nor local processes.
"""
