"""Python runs this where it starts with this folder on its path, as the tests' processes do.

The imports of TensorFlow and Keras keep all that they make. The garbage collector would search it all the time.
"""

import gc

gc.set_threshold(10_000, 10, 10)
