"""The one error of image/: a sentence that says what is wrong and what to do next."""


class ImageError(Exception):
    """The image cannot be built, checked or published as asked."""
