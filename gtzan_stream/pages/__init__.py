"""Web pages in one file each: nothing is loaded from elsewhere, and they work without a server.

`render` fills a Jinja2 template of the folder `templates`. Sounds and pictures are data URIs in the page. The style
follows the reader's light or dark setting, and fits a phone.
"""

from gtzan_stream.pages.crop import Crop, draw_crop, gain_words, peak
from gtzan_stream.pages.page import render
from gtzan_stream.pages.pictures import Scale, Tick, heat_map_uri, hz_ticks, scale_uri, waveform_path
from gtzan_stream.pages.sound import sound_uri

__all__ = ["Crop", "Scale", "Tick", "draw_crop", "gain_words", "heat_map_uri", "hz_ticks", "peak", "render"]
__all__ += ["scale_uri", "sound_uri", "waveform_path"]
