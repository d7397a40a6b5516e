"""The CUDA kernels that benchmarks compare with, run by threads of a CPU."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest

from tests.conftest import load_file
from tests.ops import clouds

pytestmark = pytest.mark.once

# What CUDA has and C++ has not. A block is a team of threads, and blocks come
# one after the other.
HOST = """
#include <barrier>
#include <cmath>
#include <cstddef>
#include <thread>
#include <vector>
#define __global__ static
#define __shared__ static
struct Index { int x; };
static thread_local Index threadIdx, blockIdx;
static Index blockDim;
static std::barrier<>* team;
static void __syncthreads() { team->arrive_and_wait(); }
"""
LAUNCH = """
template <class F> void launch(int blocks, int threads, F body) {
  blockDim.x = threads;
  std::barrier<> barrier(threads);
  team = &barrier;
  for (int block = 0; block < blocks; ++block) {
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i)
      all.emplace_back([=] { blockIdx.x = block; threadIdx.x = i; body(); });
    for (auto& one : all) one.join();
  }
}
extern "C" void sample(
    const float* points, float* nearest, int* chosen, int batch, int count,
    int samples) {
  launch(batch, THREADS, [=] {
    farthest_points(points, nearest, chosen, count, samples); });
}
extern "C" void knn(
    const float* queries, const float* points, int* found, int total,
    int each, int count, int k) {
  launch((total + 3) / 4, 4, [=] {
    nearest_points(queries, points, found, total, each, count, k); });
}
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    kernels = load_file("scripts/benchmark/plain_cuda.py").KERNELS
    assert "#define THREADS 512" in kernels
    few = kernels.replace("#define THREADS 512", "#define THREADS 8")
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "host.cpp").write_text(HOST + few + LAUNCH)
    arguments = "-std=c++20 -O1 -ffp-contract=off -shared -fPIC -pthread"
    subprocess.run(
        [compiler, *arguments.split(), "host.cpp", "-o", "host.so"],
        cwd=folder,
        check=True,
    )
    return ctypes.CDLL(str(folder / "host.so"))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.mark.parametrize("kind", clouds.KINDS)
def test_the_kernels_choose_what_the_definition_says(kernels, kind):
    points = np.ascontiguousarray(clouds.make(kind, 2, 45))
    nearest = np.full((2, 45), 1e10, "float32")
    chosen = np.full((2, 20), -1, "int32")
    kernels.sample(
        pointer(points), pointer(nearest), pointer(chosen), 2, 45, 20
    )
    expected = [clouds.sample(cloud, 20) for cloud in points]
    np.testing.assert_array_equal(chosen, expected)

    queries = np.ascontiguousarray(points[:, 3:10])
    found = np.full((2, 7, 9), -1, "int32")
    kernels.knn(pointer(queries), pointer(points), pointer(found), 14, 7, 45, 9)
    expected = [clouds.neighbors(q, p, 9) for q, p in zip(queries, points)]
    np.testing.assert_array_equal(found, expected)
