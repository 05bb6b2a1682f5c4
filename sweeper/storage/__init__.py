"""Where results lie: folders, buckets, and the locks in them."""
