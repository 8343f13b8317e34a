"""Corruptions whose neighbouring pixels share random numbers: glass, fog, motion, snow, frost, elastic, spatter.

Each has a module of its own and comes in two halves. The draws of an image are one row of a plain float64 array of
standard uniforms or standard normals, a pure function of (seed, corruption, severity, image number); the arithmetic,
`_fog(images, draws, severity)` and so on, is determined, so that any other implementation can be fed the same draws and
must give the same pixels. The order of a row's draws is the order in which the published script asks for them.

The published constants are for 32 pixels a side (`cifar`) and for 224 (`imagenet`). For other square sizes every
constant in pixels is multiplied by size / 32 or size / 224, and smoothed white noise by the same factor, so that it
keeps its variance: our extension, not the official benchmark.
"""

from robcomp._corruptions.elastic import elastic_transform as elastic_transform
from robcomp._corruptions.fog import fog as fog
from robcomp._corruptions.frost import frost as frost
from robcomp._corruptions.glass import glass_blur as glass_blur
from robcomp._corruptions.motion import motion_blur as motion_blur
from robcomp._corruptions.snow import snow as snow
from robcomp._corruptions.spatter import spatter as spatter
