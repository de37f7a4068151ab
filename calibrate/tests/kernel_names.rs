//! Names of kernels as profiles of vLLM and SGLang on Ampere, Hopper and Blackwell have shown them, and the class of each.

use tokentide_calibrate::kernels::{Class, Rules};

const NAMES: [(Class, &[&str]); 15] = [
    (
        Class::Gemm,
        &[
            "nvjet_tst_128x64_64x8_2x1_v_bz_splitK_TNT",
            "nvjet_sm100_tst_32x64_64x16_4x1_v_bz_splitK_bias_TNN",
            "ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_64x3_tn",
            "sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize64x64x128_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
            "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn_align8>(T1::Params)",
            "void cutlass::device_kernel<vllm::enable_sm90_or_later<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int>>>>",
            "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, __nv_bfloat16, false>(float)",
            "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, __nv_bfloat16, __nv_bfloat16>(float)",
            "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 4096u, 4096u, (deep_gemm::GemmType)0>(float*, int*)",
            "void marlin::Marlin<1125899906909960l, 128, 1, 8, 8, true, 4, 8, false>(int4 const*)",
            "_w8a8_block_fp8_matmul",
            "triton_tem_fused_mm_0",
            "void fused_a_gemm_kernel<1, 2112, 7168, 16, 8, 256, 16>(__nv_bfloat16*, __nv_bfloat16 const*)",
            "_C::onednn_mm",
            "aten::addmm",
        ],
    ),
    (
        Class::Attention,
        &[
            "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>, true, false>(flash::Flash_fwd_params)",
            "void flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4>, 4, 2, true>(Flash_fwd_params)",
            "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloop<2> > > >",
            "void cutlass::device_kernel<flash::FlashAttnFwdCombine<cute::tuple<cute::C<8> > > >",
            "void flash::prepare_varlen_num_blocks_kernel<1, true>(int)",
            "void flashinfer::BatchPrefillWithPagedKVCacheKernel<flashinfer::KernelTraits<(flashinfer::MaskMode)1>>(T2)",
            "void flashinfer::PersistentVariableLengthMergeStatesKernel<8u, 16u, 8u, 4u>(float*)",
            "kernel_unified_attention_2d",
            "kernel_unified_attention",
            "fmhaReductionKernel",
            "_C::cpu_attention_with_kv_cache",
            "vllm::unified_attention_with_output",
        ],
    ),
    (
        Class::AttentionPrefill,
        &[
            "void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4>>(Flash_fwd_params)",
            "void flashinfer::BatchPrefillWithRaggedKVCacheKernel<flashinfer::KernelTraits<(flashinfer::MaskMode)1>>(T2)",
            "fmhaSm100fKernel_QkvBfloat16OBfloat16H64PagedKvCausalP64VarSeqQ128Kv128PersistentContext",
            "_fwd_kernel",
        ],
    ),
    (
        Class::AttentionDecode,
        &[
            "void flashinfer::BatchDecodeWithPagedKVCacheKernel<(flashinfer::PosEncodingMode)0, 2u, 4u, 8u, 16u>(T2)",
            "fmhaSm100fKernel_QkvBfloat16OBfloat16HQk576HV512PagedKvDenseP64MultiCtasKvVarSeqQ8Kv128StaticSwapsAbForGen",
            "_fwd_grouped_kernel_stage1",
            "_fwd_kernel_stage2",
            "void vllm::paged_attention_v2_kernel<unsigned short, unsigned short, 128, 16, 128>(float*)",
            "kernel_paged_attention_2d",
            "void flash_fwd_splitkv_mla_kernel<Flash_fwd_kernel_traits_mla<576, 64>>(Flash_fwd_mla_params)",
        ],
    ),
    (
        Class::Moe,
        &[
            "fused_moe_kernel",
            "void vllm::moe::topkGatingSoftmax<4, 128, 4, 16, int>(float const*, bool const*, float*, int)",
            "void vllm::moe::moe_align_block_size_kernel<int>(int*, int*)",
            "void marlin_moe_wna16::Marlin<1125899906909960l, 562949953487106l>(int4 const*)",
            "_matmul_ogs_NNT_bf16xbf16xmxfp4_16x256x128x1_swiglu",
            "bmm_E4m3_E4m3E4m3_Fp32_t128x32x128u2_s6_et64x32_m64x32x32_c1x1x1_rM_TN_transOut_noShfl_dsFp8",
            "void moe::dev::activation::activationDeepSeekKernel<moe::dev::activation::KernelParams<cutlass::bfloat16_t>>",
            "void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 4096u, 4096u, (deep_gemm::GemmType)1>(float*, int*)",
            "void expandInputRowsKernel<__nv_bfloat16, __nv_bfloat16>(__nv_bfloat16*)",
        ],
    ),
    (
        Class::Collective,
        &[
            "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
            "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(vllm::RankData*, vllm::RankSignals)",
            "void sglang::cross_device_reduce_2stage<__nv_bfloat16, 8>(sglang::RankData*)",
            "void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<(flashinfer::\
             trtllm_allreduce_fusion::AllReduceFusionPattern)1, __nv_bfloat16, 2, true, true>(float*)",
            "void (anonymous namespace)::two_shot_all_reduce_kernel_inplace<c10::BFloat16, 16, 2>(c10::BFloat16**)",
            "void deep_ep::internode_ll::dispatch<true, 3, 7168>(void*)",
        ],
    ),
    (
        Class::Norm,
        &[
            "std::enable_if<(8>0)&&vllm::_typeConvert<c10::BFloat16>::exists, void>::type vllm::fused_add_rms_norm_kernel",
            "void vllm::rms_norm_static_fp8_quant_kernel<c10::BFloat16, c10::Float8_e4m3fn>(c10::Float8_e4m3fn*)",
            "void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>(__nv_bfloat16*)",
            "void flashinfer::norm::RMSNormKernel<8u, __nv_bfloat16>",
            "triton_red_fused__to_copy_add_fused_add_rms_norm_2",
            "triton_red_fused__to_copy_add_mean_mul_pow_rsqrt_0",
        ],
    ),
    (
        Class::Rotary,
        &[
            "void vllm::rotary_embedding_kernel<c10::BFloat16, true>(long const*, c10::BFloat16*)",
            "void sglang::fused_rope_kernel<true, 128l, false, __nv_bfloat16, __nv_bfloat16, long, 16u>(float)",
            "void flashinfer::BatchQKApplyRotaryPosIdsCosSinCacheHeadParallelismKernel<true, 128u>(float*)",
            "applyMLARopeAndAssignQKVKernelOptContext",
        ],
    ),
    (
        Class::Activation,
        &[
            "void vllm::act_and_mul_kernel<c10::BFloat16, &vllm::silu_kernel<c10::BFloat16>, true>(c10::BFloat16*)",
            "void sglang::act_and_mul_kernel<__nv_bfloat16, (sglang::ActivationKind)0, false>(float)",
            "triton_poi_fused_mul_silu_slice_0",
            "aten::silu",
        ],
    ),
    (
        Class::KvWrite,
        &[
            "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16, (vllm::Fp8KVCacheDataType)0>(float)",
            "void vllm::concat_and_cache_mla_kernel<__nv_bfloat16, __nv_bfloat16, (vllm::Fp8KVCacheDataType)0>(float)",
            "void sglang::store_kvcache<512l, 512l, 1, false, long>(float)",
            "reshape_and_cache_kernel_flash",
            "set_mla_kv_buffer_kernel",
            "vllm::unified_kv_cache_update",
        ],
    ),
    (
        Class::Quantize,
        &[
            "void vllm::scaled_fp8_quant_kernel<c10::BFloat16, c10::Float8_e4m3fn>(c10::Float8_e4m3fn*)",
            "void sglang::per_token_group_quant_flat_kernel<sglang::QuantTrait<__nv_bfloat16>>(float)",
            "void vllm::cvt_fp16_to_fp4<__nv_bfloat16, false>(int)",
        ],
    ),
    (
        Class::Embedding,
        &[
            "void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long, unsigned int, 2, 2, -2, true>",
            "void at::native::vectorized_gather_kernel<16, long>(char*, char*, long*)",
            "aten::embedding",
        ],
    ),
    (
        Class::Sampling,
        &[
            "void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float, float, float>",
            "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::ArgMaxOps<float>, unsigned int>>",
            "_gumbel_sample_kernel",
            "void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(at::cuda::detail::TensorInfo<float, unsigned int>)",
            "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024u>(float*)",
            "void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4>(long)",
            "_topk_topp_kernel",
            "_C::greedy_argmax",
        ],
    ),
    (Class::Copy, &["Memcpy HtoD (Pinned -> Device)", "Memcpy DtoH (Device -> Pageable)", "Memset (Device)"]),
    (
        Class::Elementwise,
        &[
            "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<int>, std::array<char*, 1ul>>(int)",
            "void at::native::(anonymous namespace)::CatArrayBatchedCopy_contig<at::native::OpaqueType<1u> >",
            "triton_poi_fused_zeros_6",
            "_compute_slot_mapping_kernel",
            "_prepare_pos_seq_lens_kernel",
            "aten::copy_",
        ],
    ),
];

#[test]
fn kernels_that_servers_launch_have_their_class() {
    let rules = Rules::new(None).unwrap();
    let wrong: Vec<String> = NAMES
        .iter()
        .flat_map(|(class, names)| names.iter().map(move |name| (*class, *name)))
        .filter(|(class, name)| rules.class(name) != Some(*class))
        .map(|(class, name)| format!("{name}: {:?}, expected {class:?}", rules.class(name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_of_no_kernel_have_none() {
    let rules = Rules::new(None).unwrap();
    for name in ["void some_future_kernel<int>(int)", "PhaseE_Beta_Kernel", "my_property"] {
        assert_eq!(rules.class(name), None, "{name}");
    }
    // Views compute nothing, and are known.
    assert_eq!(rules.class("aten::as_strided"), Some(Class::Other));
}
