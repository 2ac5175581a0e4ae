"""One OpenVINO graph in two precisions: the nuclei network in bf16, the tile network in f32.

OpenVINO computes a whole graph in the precision that it is given, except for layers with the mark
``precise`` in the graph's file. Two graphs, one for each network, would compete for the same cores.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

# Layers whose precision is that of the network; others only move numbers.
_COMPUTING = ("Convolution", "FullyConnected", "MatMul")


def with_tile_network_in_f32(files: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Mark the layers of the tile network in the files of a graph.

    Parameters
    ----------
    files : (bytes, bytes)
        Nodes and weights of the graph of a :class:`~.fused_networks.ScoringNetwork`.
    """
    tree = ElementTree.fromstring(files[0])
    for layer in _tile_layers(tree):
        # what describes a layer comes first in it, then what is known of it, then its ports
        known = layer.find("rt_info")
        if known is None:
            known = ElementTree.Element("rt_info")
            layer.insert(0 if layer.find("data") is None else 1, known)
        ElementTree.SubElement(known, "attribute", {"name": "precise", "version": "0"})
    return ElementTree.tostring(tree), files[1]


def kept_in_f32(compiled: Any, files: tuple[bytes, bytes]) -> bool:
    """Whether a compiled graph computes the tile network in f32, as it was marked.

    Parameters
    ----------
    compiled : openvino.CompiledModel
    files : (bytes, bytes)
        The files that were compiled.
    """
    names = {layer.get("name") for layer in _tile_layers(ElementTree.fromstring(files[0]))}
    computing = [
        facts
        for facts in (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
        if facts["layerType"].astype(str) in _COMPUTING
        and names.intersection(facts["originalLayersNames"].astype(str).split(","))
    ]
    found = {facts["runtimePrecision"].astype(str) for facts in computing}
    return found == {"f32"}


def _tile_layers(graph: ElementTree.Element) -> list[ElementTree.Element]:
    """Layers that the second output, the nuclei fraction, does not follow from."""
    layers = [each for each in graph.iterfind("layers/layer") if each.get("type") != "Result"]
    results = [each for each in graph.iterfind("layers/layer") if each.get("type") == "Result"]
    sources: dict[str, list[str]] = {}
    for edge in graph.iterfind("edges/edge"):
        sources.setdefault(edge.attrib["to-layer"], []).append(edge.attrib["from-layer"])
    nuclei = _ancestors(results[1].attrib["id"], sources)
    return [each for each in layers if each.attrib["id"] not in nuclei]


def _ancestors(layer: str, sources: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting: list[str] = [layer]
    while waiting:
        above: Iterable[str] = sources.get(waiting.pop(), ())
        waiting += [each for each in above if each not in found]
        found.update(above)
    return found
