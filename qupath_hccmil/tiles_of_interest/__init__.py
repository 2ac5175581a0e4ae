"""The highest and lowest tiles of a cohort: pictures, a gallery to review, and their statistics."""
