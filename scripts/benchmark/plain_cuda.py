"""Sampling as plain CUDA: what benchmarks compare with.

They alone compile it, with nvcc. Our own text, in the manner of published code.
Farthest point sampling the classic way: one block of threads for each cloud,
distances in global memory, and in every step a maximum over the block through
shared memory. Neighbours by brute force: one thread for each query, which
keeps the nearest points in order. Compile without fused multiply-add, so that
indices are those of every other path. nvcc 13.0 compiles it; it has not been
run on a GPU yet, but its kernels have on a CPU, see the test.
"""

import functools

KERNELS = """
#define THREADS 512
#define MAX_NEIGHBORS 64

__global__ void farthest_points(
    const float* points, float* nearest, int* chosen, int count, int samples) {
  __shared__ float values[THREADS];
  __shared__ int places[THREADS];
  const int thread = threadIdx.x;
  points += (size_t)blockIdx.x * count * 3;
  nearest += (size_t)blockIdx.x * count;
  chosen += (size_t)blockIdx.x * samples;
  int last = 0;
  if (thread == 0) chosen[0] = 0;
  for (int step = 1; step < samples; ++step) {
    const float px = points[3 * last];
    const float py = points[3 * last + 1];
    const float pz = points[3 * last + 2];
    float value = -1.0f;
    int place = 0;
    for (int i = thread; i < count; i += THREADS) {
      const float x = points[3 * i] - px;
      const float y = points[3 * i + 1] - py;
      const float z = points[3 * i + 2] - pz;
      const float distance = fminf(nearest[i], x * x + y * y + z * z);
      nearest[i] = distance;
      if (distance > value) {
        value = distance;
        place = i;
      }
    }
    values[thread] = value;
    places[thread] = place;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
      if (thread < half) {
        const float other = values[thread + half];
        const int there = places[thread + half];
        if (other > values[thread] ||
            (other == values[thread] && there < places[thread])) {
          values[thread] = other;
          places[thread] = there;
        }
      }
      __syncthreads();
    }
    last = places[0];
    if (thread == 0) chosen[step] = last;
    // Nobody writes to `places` before all have read it.
    __syncthreads();
  }
}

__global__ void nearest_points(
    const float* queries, const float* points, int* found,
    int total, int per_cloud, int count, int k) {
  const int query = blockIdx.x * blockDim.x + threadIdx.x;
  if (query >= total) return;
  points += (size_t)(query / per_cloud) * count * 3;
  const float px = queries[3 * query];
  const float py = queries[3 * query + 1];
  const float pz = queries[3 * query + 2];
  float distances[MAX_NEIGHBORS];
  int places[MAX_NEIGHBORS];
  for (int j = 0; j < k; ++j) {
    distances[j] = 3e38f;
    places[j] = 0;
  }
  for (int i = 0; i < count; ++i) {
    const float x = px - points[3 * i];
    const float y = py - points[3 * i + 1];
    const float z = pz - points[3 * i + 2];
    const float distance = x * x + y * y + z * z;
    if (distance >= distances[k - 1]) continue;
    int j = k - 1;
    for (; j > 0 && distances[j - 1] > distance; --j) {
      distances[j] = distances[j - 1];
      places[j] = places[j - 1];
    }
    distances[j] = distance;
    places[j] = i;
  }
  for (int j = 0; j < k; ++j) found[(size_t)query * k + j] = places[j];
}
"""

LAUNCHERS = """
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/extension.h>

torch::Tensor farthest_point_sample(torch::Tensor points, int64_t samples) {
  const auto batch = points.size(0), count = points.size(1);
  auto nearest = torch::full({batch, count}, 1e10, points.options());
  const auto integers = points.options().dtype(at::kInt);
  auto chosen = torch::empty({batch, samples}, integers);
  farthest_points<<<batch, THREADS, 0, c10::cuda::getCurrentCUDAStream()>>>(
      points.data_ptr<float>(), nearest.data_ptr<float>(),
      chosen.data_ptr<int>(), count, samples);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return chosen;
}

torch::Tensor knn(torch::Tensor queries, torch::Tensor points, int64_t k) {
  TORCH_CHECK(k <= MAX_NEIGHBORS, "At most ", MAX_NEIGHBORS, " neighbours.");
  const auto batch = points.size(0), count = points.size(1);
  const auto each = queries.size(1), total = batch * each;
  const auto integers = points.options().dtype(at::kInt);
  auto found = torch::empty({batch, each, k}, integers);
  nearest_points<<<
      (total + 127) / 128, 128, 0, c10::cuda::getCurrentCUDAStream()>>>(
      queries.data_ptr<float>(), points.data_ptr<float>(),
      found.data_ptr<int>(), total, each, count, k);
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return found;
}
"""

DECLARATIONS = """
torch::Tensor farthest_point_sample(torch::Tensor points, int64_t samples);
torch::Tensor knn(torch::Tensor queries, torch::Tensor points, int64_t k);
"""


@functools.cache
def extension():
    """The compiled functions, of contiguous float32 tensors on a GPU.

    Compiled at the first call, into PyTorch's folder of extensions.
    """
    from torch.utils import cpp_extension

    return cpp_extension.load_inline(
        "keras_pointpeft_plain_cuda",
        cpp_sources=DECLARATIONS,
        cuda_sources=KERNELS + LAUNCHERS,
        functions=["farthest_point_sample", "knn"],
        extra_cuda_cflags=["-O3", "-fmad=false"],
    )


def has_compiler():
    """Whether PyTorch finds nvcc, and ninja, which runs it."""
    from torch.utils import cpp_extension

    return cpp_extension.CUDA_HOME is not None and (
        cpp_extension.is_ninja_available()
    )


def patches(points, num_groups, group_size):
    """As `plain_torch.patches`."""
    import torch

    points = points.contiguous()
    rows = torch.arange(points.shape[0], device=points.device)[:, None]
    index = extension().farthest_point_sample(points, num_groups)
    centers = points[rows, index].contiguous()
    nearest = extension().knn(centers, points, group_size)
    return centers, points[rows[..., None], nearest] - centers[:, :, None]
